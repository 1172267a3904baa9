/* What is used of Foundation/NSDictionary.h, declared by hand. */
#ifndef CALMENU_FOUNDATION_NSDICTIONARY_H
#define CALMENU_FOUNDATION_NSDICTIONARY_H

#include <Foundation/NSArray.h>

@interface NSDictionary : NSObject
- (NSArray *)allKeys;
- (id)objectForKeyedSubscript:(id)k;
@end

@interface NSMutableDictionary : NSDictionary
+ (instancetype)dictionaryWithCapacity:(NSUInteger)n;
- (void)setObject:(id)o forKey:(id<NSCopying>)k;
@end

#endif
