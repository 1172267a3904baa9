/* unistd.h: runtime/cgo includes it and uses nothing of it on macOS. */
#ifndef CALMENU_UNISTD_H
#define CALMENU_UNISTD_H

#endif
