/* A 64-bit hash of bytes (FNV-1a): tells contents apart, not made to withstand an attacker. */
#ifndef FL_BASE_HASH_H
#define FL_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define FL_HASH_START 0xcbf29ce484222325u

/* The hash of what `hash` is of (FL_HASH_START: of nothing) and these bytes behind it. */
static inline uint64_t fl_hash(uint64_t hash, const void *data, size_t length)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

#endif
