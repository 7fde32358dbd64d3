/* The seal is text, so that `head -3 state.h5` tells a person what the file is. */
#include "io/seal.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

static const char magic[] = "FEDLLM STATE ";
static const char version[] = "1\n";

static void make_seal(char out[FL_SEAL_BYTES], const unsigned char *data, size_t length)
{
    memset(out, 0, FL_SEAL_BYTES);
    size_t rest = length - FL_SEAL_BYTES;
    unsigned long crc = crc32_z(crc32_z(0, NULL, 0), data + FL_SEAL_BYTES, rest);
    snprintf(out, FL_SEAL_BYTES, "%s%slength %020zu\ncrc32 %08lx\n", magic, version, rest, crc);
}

void fl_seal_write(unsigned char *data, size_t length)
{
    char seal[FL_SEAL_BYTES];
    make_seal(seal, data, length);
    memcpy(data, seal, sizeof seal);
}

fl_status fl_seal_check(const unsigned char *data, size_t length, const char *path)
{
    const size_t magic_length = strlen(magic), version_length = strlen(version);
    FL_CHECK(length >= magic_length && memcmp(data, magic, magic_length) == 0, FL_ERR_INPUT,
             length == 0 ? "%s: the file is empty" : "%s: not a fedllm state file", path);
    FL_CHECK(length > FL_SEAL_BYTES, FL_ERR_INPUT, "%s: truncated after %zu bytes", path, length);
    FL_CHECK(memcmp(data + magic_length, version, version_length) == 0, FL_ERR_UNSUPPORTED,
             "%s: written by another version of fedllm, or damaged", path);
    /* The seal is made anew and compared whole: there is no text to parse and no byte unchecked. */
    char seal[FL_SEAL_BYTES];
    make_seal(seal, data, length);
    FL_CHECK(memcmp(data, seal, sizeof seal) == 0, FL_ERR_INPUT,
             "%s: damaged: length or checksum do not match (truncated or altered)", path);
    return FL_OK;
}
