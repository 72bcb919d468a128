/* Connection pools, as a program may look at them: aon_pool_status in aon/store.h. */
#ifndef AON_POOL_H
#define AON_POOL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct aon_pool_counts {
  uint32_t total;   /* connections there are, in use or idle */
  uint32_t idle;    /* of these, waiting for use */
  uint32_t waiting; /* callers that wait for one */
  uint32_t max;
} aon_pool_counts;

#ifdef __cplusplus
}
#endif
#endif
