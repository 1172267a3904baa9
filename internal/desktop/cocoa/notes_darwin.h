// What Go calls of notes_darwin.m. Strings are UTF-8 and belong to the caller.
#include <stdint.h>

// Makes the notification centre tell of clicks. Before the application has finished launching, on the main thread.
void calmenu_notes_listen(void);
// Asks the person for permission, or macOS for the answer they gave; the answer comes to calmenuNotesAnswered.
void calmenu_notes_authorize(uintptr_t request);
// Asks macOS for the person's settings; they come to calmenuNotesSettings.
void calmenu_notes_settings(uintptr_t request);
// Collects a category of notifications: its name, and the labels of its buttons, one a line, ten at most. commit makes
// those since clear the ones there are.
void calmenu_notes_categories_clear(void);
void calmenu_notes_category(const char *name, const char *labels);
void calmenu_notes_categories_commit(void);
// Posts a notification; category may be empty.
void calmenu_notes_post(const char *identifier, const char *title, const char *body, const char *category);
// Takes back one that was posted.
void calmenu_notes_withdraw(const char *identifier);
