/* What is used of time.h, declared by hand. */
#ifndef CALMENU_TIME_H
#define CALMENU_TIME_H

typedef long time_t;
struct timespec {
  time_t tv_sec;
  long tv_nsec;
};
int nanosleep(const struct timespec *a, struct timespec *b);

#endif
