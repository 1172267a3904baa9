/* What is used of pthread.h, declared by hand. */
#ifndef CALMENU_PTHREAD_H
#define CALMENU_PTHREAD_H

#include <stddef.h>
#include <time.h>
#include <signal.h>

typedef struct stub_pthread *pthread_t;
typedef struct {
  long sig;
  char opaque[56];
} pthread_attr_t;
typedef struct {
  long sig;
  char opaque[56];
} pthread_mutex_t;
typedef struct {
  long sig;
  char opaque[40];
} pthread_cond_t;
typedef struct {
  long sig;
  char opaque[8];
} pthread_once_t;
typedef unsigned long pthread_key_t;
#define PTHREAD_MUTEX_INITIALIZER {0x32AAABA7, {0}}
#define PTHREAD_COND_INITIALIZER {0x3CB0B1BB, {0}}
#define PTHREAD_ONCE_INIT {0x30B1BCBA, {0}}
#define PTHREAD_CREATE_DETACHED 2
int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg);
int pthread_detach(pthread_t t);
pthread_t pthread_self(void);
size_t pthread_get_stacksize_np(pthread_t t);
void *pthread_get_stackaddr_np(pthread_t t);
int pthread_attr_init(pthread_attr_t *a);
int pthread_attr_destroy(pthread_attr_t *a);
int pthread_attr_getstacksize(const pthread_attr_t *a, size_t *s);
int pthread_attr_setstacksize(pthread_attr_t *a, size_t s);
int pthread_attr_setdetachstate(pthread_attr_t *a, int s);
int pthread_mutex_lock(pthread_mutex_t *m);
int pthread_mutex_unlock(pthread_mutex_t *m);
int pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m);
int pthread_cond_broadcast(pthread_cond_t *c);
int pthread_key_create(pthread_key_t *k, void (*d)(void *));
int pthread_setspecific(pthread_key_t k, const void *v);
void *pthread_getspecific(pthread_key_t k);

#endif
