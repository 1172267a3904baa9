/* What is used of objc/NSObject.h, declared by hand. */
#ifndef CALMENU_OBJC_NSOBJECT_H
#define CALMENU_OBJC_NSOBJECT_H

#include <objc/runtime.h>

typedef long NSInteger;
typedef unsigned long NSUInteger;
@class NSString;

@protocol NSObject
- (Class)class;
- (BOOL)isKindOfClass:(Class)c;
- (BOOL)isMemberOfClass:(Class)c;
- (BOOL)respondsToSelector:(SEL)s;
- (BOOL)conformsToProtocol:(Protocol *)p;
- (BOOL)isProxy;
- (id)performSelector:(SEL)s;
- (id)performSelector:(SEL)s withObject:(id)o;
- (id)performSelector:(SEL)s withObject:(id)o withObject:(id)p;
#if !__has_feature(objc_arc)
- (instancetype)retain;
- (oneway void)release;
- (instancetype)autorelease;
- (NSUInteger)retainCount;
#endif
- (NSString *)description;
@end

__attribute__((objc_root_class))
@interface NSObject <NSObject> {
  Class isa;
}
+ (instancetype)alloc;
+ (instancetype)new;
- (instancetype)init;
- (id)copy;
- (id)mutableCopy;
+ (Class)class;
#if !__has_feature(objc_arc)
- (void)dealloc;
#endif
@end

#endif
