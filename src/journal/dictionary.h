/* The names that the operations of one bulk operation repeat: its collections with all their settings, and the texts of sheets
 * and entities. Operations refer to them by number.
 *
 * Invariants: numbers count from 0 in order of first use and never change; what the functions hand out lives as long as the
 * dictionary, whose owners are counted. */
#ifndef AON_JOURNAL_DICTIONARY_H
#define AON_JOURNAL_DICTIONARY_H

#include "aon/operation.h"
#include "base/arena.h"

#define AON_DICTIONARY_COLLECTIONS_LIMIT 4096
#define AON_DICTIONARY_TEXTS_LIMIT 65536

typedef struct aon_dictionary aon_dictionary;

aon_dictionary *aon_dictionary_new(void); /* one owner; NULL: no memory */
aon_dictionary *aon_dictionary_share(aon_dictionary *dictionary);
void aon_dictionary_release(aon_dictionary *dictionary); /* one owner less; NULL is fine */

/* The number of a collection with these very settings, or of a text; added if it is new. AON_PERMANENT too_many_names. */
aon_result aon_dictionary_collection(aon_dictionary *dictionary, const aon_collection *collection, uint32_t *ret_number,
                                     aon_error *error) AON_MUST_USE;
aon_result aon_dictionary_text(aon_dictionary *dictionary, const char *text, uint32_t *ret_number, aon_error *error) AON_MUST_USE;
/* Appends what was kept: settings as _settings gives them. AON_CORRUPT where they are not. */
aon_result aon_dictionary_restore_collection(aon_dictionary *dictionary, const char *settings, aon_error *error) AON_MUST_USE;
aon_result aon_dictionary_restore_text(aon_dictionary *dictionary, const char *text, aon_error *error) AON_MUST_USE;

size_t aon_dictionary_collections(const aon_dictionary *dictionary);
size_t aon_dictionary_texts(const aon_dictionary *dictionary);
const aon_collection *aon_dictionary_collection_at(const aon_dictionary *dictionary, size_t number); /* NULL: no such number */
const char *aon_dictionary_text_at(const aon_dictionary *dictionary, size_t number);                 /* NULL: no such number */
const char *aon_dictionary_settings_at(const aon_dictionary *dictionary, size_t number);             /* JSON object */

/* A copy with all its texts in the arena. */
aon_result aon_collection_copy(const aon_collection *collection, aon_arena *arena, aon_collection *ret_copy, aon_error *error) AON_MUST_USE;
#endif
