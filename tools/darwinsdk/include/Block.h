/* What is used of Block.h, declared by hand. */
#ifndef CALMENU_BLOCK_H
#define CALMENU_BLOCK_H

void *_Block_copy(const void *b);
void _Block_release(const void *b);
#define Block_copy(...) ((__typeof(__VA_ARGS__))_Block_copy((const void *)(__VA_ARGS__)))
#define Block_release(...) _Block_release((const void *)(__VA_ARGS__))

#endif
