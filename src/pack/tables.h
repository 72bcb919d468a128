/* Fixed tables behind the checks of single values. */
#ifndef AON_PACK_TABLES_H
#define AON_PACK_TABLES_H

#include <stddef.h>

/* Ascending by ASCII lower case. */
extern const char *const aon_time_zones[];
extern const size_t aon_time_zone_count;
#endif
