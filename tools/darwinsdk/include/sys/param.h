/* sys/param.h: runtime/cgo includes it and uses nothing of it on macOS. */
#ifndef CALMENU_SYS_PARAM_H
#define CALMENU_SYS_PARAM_H

#endif
