/* What is used of string.h, declared by hand. */
#ifndef CALMENU_STRING_H
#define CALMENU_STRING_H

#include <stddef.h>

void *memcpy(void *d, const void *s, size_t n);
void *memset(void *d, int c, size_t n);
void *memmove(void *d, const void *s, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
char *strerror(int e);

#endif
