/* What is used of sys/types.h, declared by hand. */
#ifndef CALMENU_SYS_TYPES_H
#define CALMENU_SYS_TYPES_H

#include <stddef.h>

typedef long ssize_t;
typedef int pid_t;

#endif
