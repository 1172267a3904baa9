/* What is used of errno.h, declared by hand. */
#ifndef CALMENU_ERRNO_H
#define CALMENU_ERRNO_H

extern int *__error(void);
#define errno (*__error())
#define EAGAIN 35

#endif
