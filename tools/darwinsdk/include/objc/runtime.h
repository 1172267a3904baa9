/* What is used of objc/runtime.h, declared by hand. */
#ifndef CALMENU_OBJC_RUNTIME_H
#define CALMENU_OBJC_RUNTIME_H

#include <objc/objc.h>

#ifndef __OBJC__
typedef struct objc_object Protocol;
#else
@class Protocol;
#endif
typedef struct objc_method *Method;
typedef struct objc_ivar *Ivar;
typedef struct objc_property *objc_property_t;
typedef struct {
  const char *name;
  const char *value;
} objc_property_attribute_t;
struct objc_method_description {
  SEL name;
  char *types;
};
typedef uintptr_t objc_AssociationPolicy;
IMP imp_implementationWithBlock(id b);
id imp_getBlock(IMP i);
BOOL imp_removeBlock(IMP i);
SEL method_getName(Method m);
const char *method_getTypeEncoding(Method m);
IMP method_getImplementation(Method m);
IMP method_setImplementation(Method m, IMP i);
const char *property_getName(objc_property_t p);
const char *property_getAttributes(objc_property_t p);
char *property_copyAttributeValue(objc_property_t p, const char *n);
objc_property_attribute_t *property_copyAttributeList(objc_property_t p, unsigned int *n);
void objc_setAssociatedObject(id o, const void *k, id v, objc_AssociationPolicy p);
id objc_getAssociatedObject(id o, const void *k);
void objc_removeAssociatedObjects(id o);
Class objc_getClass(const char *n);
Class objc_lookUpClass(const char *n);
Class objc_allocateClassPair(Class s, const char *n, size_t x);
void objc_registerClassPair(Class c);
void objc_disposeClassPair(Class c);
Class object_getClass(id o);
id class_createInstance(Class c, size_t x);
const char *class_getName(Class c);
void class_setVersion(Class c, int v);
int class_getVersion(Class c);
Class class_getSuperclass(Class c);
BOOL class_respondsToSelector(Class c, SEL s);
BOOL class_addMethod(Class c, SEL s, IMP i, const char *t);
IMP class_replaceMethod(Class c, SEL s, IMP i, const char *t);
IMP class_getMethodImplementation(Class c, SEL s);
#ifndef __arm64__
IMP class_getMethodImplementation_stret(Class c, SEL s);
#endif
Method class_getInstanceMethod(Class c, SEL s);
Method class_getClassMethod(Class c, SEL s);
Method *class_copyMethodList(Class c, unsigned int *n);
objc_property_t class_getProperty(Class c, const char *n);
objc_property_t *class_copyPropertyList(Class c, unsigned int *n);
BOOL class_addProperty(Class c, const char *n, const objc_property_attribute_t *a, unsigned int k);
void class_replaceProperty(Class c, const char *n, const objc_property_attribute_t *a, unsigned int k);
BOOL class_addProtocol(Class c, Protocol *p);
Protocol *objc_getProtocol(const char *n);
Protocol *objc_allocateProtocol(const char *n);
const char *protocol_getName(Protocol *p);
struct objc_method_description protocol_getMethodDescription(Protocol *p, SEL s, BOOL r, BOOL i);
struct objc_method_description *protocol_copyMethodDescriptionList(Protocol *p, BOOL r, BOOL i,
                                                                   unsigned int *n);
Protocol **protocol_copyProtocolList(Protocol *p, unsigned int *n);
objc_property_t protocol_getProperty(Protocol *p, const char *n, BOOL r, BOOL i);
objc_property_t *protocol_copyPropertyList(Protocol *p, unsigned int *n);

#endif
