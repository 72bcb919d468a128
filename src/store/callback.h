/* The callback store: class 5 over functions of the embedding program. What it promises stands in aon/callback.h; this header is for
 * the rooms above, which see stores only as adapters. */
#ifndef AON_STORE_CALLBACK_H
#define AON_STORE_CALLBACK_H

#include "aon/callback.h"

#endif
