/* What is used of objc/objc.h, declared by hand. */
#ifndef CALMENU_OBJC_OBJC_H
#define CALMENU_OBJC_OBJC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __arm64__
typedef bool BOOL;
#else
typedef signed char BOOL;
#endif
#define YES __objc_yes
#define NO __objc_no
#define nil ((void *)0)
#define Nil ((void *)0)
#ifndef __OBJC__
typedef struct objc_class *Class;
typedef struct objc_object {
  Class isa;
} * id;
typedef struct objc_selector *SEL;
#endif
typedef id (*IMP)(id, SEL, ...);
const char *sel_getName(SEL s);
SEL sel_registerName(const char *n);

#endif
