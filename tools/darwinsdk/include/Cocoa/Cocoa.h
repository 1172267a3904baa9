/* What is used of Cocoa/Cocoa.h, declared by hand. */
#ifndef CALMENU_COCOA_COCOA_H
#define CALMENU_COCOA_COCOA_H

#include <Foundation/Foundation.h>
#include <AppKit/AppKit.h>

#endif
