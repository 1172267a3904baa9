/* What is used of TargetConditionals.h, declared by hand. */
#ifndef CALMENU_TARGETCONDITIONALS_H
#define CALMENU_TARGETCONDITIONALS_H

#define TARGET_OS_MAC 1
#define TARGET_OS_OSX 1
#define TARGET_OS_IPHONE 0
#define TARGET_OS_IOS 0
#define TARGET_OS_SIMULATOR 0

#endif
