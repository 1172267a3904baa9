/* What is used of signal.h, declared by hand. */
#ifndef CALMENU_SIGNAL_H
#define CALMENU_SIGNAL_H

typedef unsigned int sigset_t;
#define SIG_BLOCK 1
#define SIG_UNBLOCK 2
#define SIG_SETMASK 3
int sigfillset(sigset_t *s);
int sigemptyset(sigset_t *s);
int pthread_sigmask(int how, const sigset_t *s, sigset_t *o);

#endif
