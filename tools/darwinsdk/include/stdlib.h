/* What is used of stdlib.h, declared by hand. */
#ifndef CALMENU_STDLIB_H
#define CALMENU_STDLIB_H

#include <stddef.h>

#define EXIT_SUCCESS 0
#define EXIT_FAILURE 1
void *malloc(size_t n);
void *calloc(size_t n, size_t m);
void *realloc(void *p, size_t n);
void free(void *p);
void abort(void) __attribute__((noreturn));
void exit(int) __attribute__((noreturn));
char *getenv(const char *name);
int setenv(const char *n, const char *v, int o);
int unsetenv(const char *n);

#endif
