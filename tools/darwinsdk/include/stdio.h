/* What is used of stdio.h, declared by hand. */
#ifndef CALMENU_STDIO_H
#define CALMENU_STDIO_H

#include <stddef.h>
#include <stdarg.h>

typedef struct stub_FILE FILE;
extern FILE *__stderrp;
#define stderr __stderrp
int fprintf(FILE *f, const char *fmt, ...);
int vfprintf(FILE *f, const char *fmt, va_list ap);
int printf(const char *fmt, ...);
int fputc(int c, FILE *f);

#endif
