/* What is used of ffi/ffi.h, declared by hand. */
#ifndef CALMENU_FFI_FFI_H
#define CALMENU_FFI_FFI_H

#include <stddef.h>
#include <stdint.h>

#define FFI_TYPE_STRUCT 13
typedef unsigned long ffi_arg;
#ifdef __arm64__
typedef enum ffi_abi { FFI_FIRST_ABI = 0, FFI_SYSV, FFI_LAST_ABI, FFI_DEFAULT_ABI = FFI_SYSV } ffi_abi;
#else
typedef enum ffi_abi { FFI_FIRST_ABI = 1, FFI_UNIX64, FFI_LAST_ABI, FFI_DEFAULT_ABI = FFI_UNIX64 } ffi_abi;
#endif
typedef enum { FFI_OK = 0, FFI_BAD_TYPEDEF, FFI_BAD_ABI, FFI_BAD_ARGTYPE } ffi_status;
typedef struct _ffi_type {
  size_t size;
  unsigned short alignment;
  unsigned short type;
  struct _ffi_type **elements;
} ffi_type;
typedef struct {
  ffi_abi abi;
  unsigned nargs;
  ffi_type **arg_types;
  ffi_type *rtype;
  unsigned bytes;
  unsigned flags;
#ifdef __arm64__
  unsigned aarch64_nfixedargs;
#endif
} ffi_cif;
typedef struct {
  void *tramp[2];
  ffi_cif *cif;
  void (*fun)(ffi_cif *, void *, void **, void *);
  void *user_data;
} ffi_closure;
extern ffi_type ffi_type_void, ffi_type_uint8, ffi_type_sint8, ffi_type_uint16, ffi_type_sint16,
    ffi_type_uint32, ffi_type_sint32, ffi_type_uint64, ffi_type_sint64, ffi_type_float, ffi_type_double,
    ffi_type_pointer;
ffi_status ffi_prep_cif(ffi_cif *c, ffi_abi a, unsigned n, ffi_type *r, ffi_type **t);
void ffi_call(ffi_cif *c, void (*f)(void), void *r, void **a);
void *ffi_closure_alloc(size_t n, void **code);
void ffi_closure_free(void *p);
ffi_status ffi_prep_closure_loc(ffi_closure *c, ffi_cif *f, void (*fun)(ffi_cif *, void *, void **, void *),
                                void *u, void *code);

#endif
