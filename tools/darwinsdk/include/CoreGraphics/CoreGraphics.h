/* What is used of CoreGraphics/CoreGraphics.h, declared by hand. */
#ifndef CALMENU_COREGRAPHICS_COREGRAPHICS_H
#define CALMENU_COREGRAPHICS_COREGRAPHICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef double CGFloat;
typedef struct CGPoint {
  CGFloat x, y;
} CGPoint;
typedef struct CGSize {
  CGFloat width, height;
} CGSize;
typedef struct CGRect {
  CGPoint origin;
  CGSize size;
} CGRect;
static inline CGRect CGRectMake(CGFloat x, CGFloat y, CGFloat w, CGFloat h) {
  CGRect r = {{x, y}, {w, h}};
  return r;
}

#endif
