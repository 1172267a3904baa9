/* What is used of dispatch/dispatch.h, declared by hand. */
#ifndef CALMENU_DISPATCH_DISPATCH_H
#define CALMENU_DISPATCH_DISPATCH_H

#include <stdint.h>

#ifdef __OBJC__
#include <objc/NSObject.h>
@protocol OS_dispatch_queue <NSObject>
@end

typedef NSObject<OS_dispatch_queue> *dispatch_queue_t;
typedef NSObject *dispatch_object_t;
#else
typedef struct dispatch_queue_s *dispatch_queue_t;
typedef void *dispatch_object_t;
#endif
typedef void (^dispatch_block_t)(void);
struct dispatch_queue_s;
#ifdef __OBJC__
extern struct dispatch_queue_s _dispatch_main_q;
#define dispatch_get_main_queue() ((__bridge dispatch_queue_t)((void *)&_dispatch_main_q))
#endif
dispatch_queue_t dispatch_get_global_queue(intptr_t id, uintptr_t flags);
void dispatch_retain(dispatch_object_t o);
void dispatch_release(dispatch_object_t o);
void dispatch_async(dispatch_queue_t q, dispatch_block_t b);
void dispatch_sync(dispatch_queue_t q, dispatch_block_t b);

#endif
