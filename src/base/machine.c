#include "base/machine.h"

#include "base/buf.h"
#include "base/file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 1 << 20 };

/* Appends ROOT PATH's text; an unreadable file is an empty one. */
static const char *text_of(fl_buf *out, const char *root, const char *path)
{
    fl_buf full = {0};
    fl_buf_clear(out);
    if (fl_buf_addf(&full, "%s%s", root, path) == FL_OK &&
        fl_file_read(out, fl_buf_text(&full), MAX_TEXT) != FL_OK)
        fl_buf_clear(out);
    fl_buf_fini(&full);
    return fl_buf_text(out);
}

/* The number behind a line's first word; UINT64_MAX without such a line or number ("max"). */
static uint64_t number_of(const char *text, const char *word)
{
    size_t length = strlen(word);
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (strncmp(line, word, length) != 0) continue;
        const char *value = line + length;
        value += strspn(value, " \t");
        if (*value >= '0' && *value <= '9') return strtoull(value, NULL, 10);
    }
    return UINT64_MAX;
}

static uint64_t less_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The files in which one version of control groups tells its numbers. */
typedef struct group_files {
    const char *mount, *limit, *usage, *cache; /* cache: a line of memory.stat */
} group_files;

static const group_files version_2 = {"/sys/fs/cgroup", "memory.max", "memory.current",
                                      "inactive_file"};
static const group_files version_1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                      "memory.usage_in_bytes", "total_inactive_file"};

static uint64_t group_number(const char *root, const group_files *files, const char *group,
                             const char *name, const char *word)
{
    fl_buf path = {0}, text = {0};
    uint64_t number = UINT64_MAX;
    if (fl_buf_addf(&path, "%s%s/%s", files->mount, group, name) == FL_OK)
        number = number_of(text_of(&text, root, fl_buf_text(&path)), word);
    fl_buf_fini(&path);
    fl_buf_fini(&text);
    return number;
}

/* What the group's limit leaves; UINT64_MAX when it has none. */
static uint64_t left_in_group(const char *root, const group_files *files, const char *group)
{
    uint64_t limit = group_number(root, files, group, files->limit, "");
    uint64_t usage = group_number(root, files, group, files->usage, "");
    uint64_t cache = group_number(root, files, group, "memory.stat", files->cache);
    if (limit == UINT64_MAX || usage == UINT64_MAX) return UINT64_MAX;
    if (cache != UINT64_MAX) usage -= less_of(cache, usage);
    return limit > usage ? limit - usage : 0;
}

/* The group and all above it; in a container the path may not be there, its mount is. */
static uint64_t left_in_groups(const char *root, const group_files *files, const char *line)
{
    char group[4096];
    size_t length = strcspn(line, "\n");
    if (length >= sizeof group) return UINT64_MAX;
    memcpy(group, line, length);
    group[length] = 0;
    uint64_t left = UINT64_MAX;
    for (;;) {
        char *end = strrchr(group, '/');
        if (end && end[1] == 0) *end = 0;
        left = less_of(left, left_in_group(root, files, group));
        if (!end) return left;
        *end = 0;
    }
}

uint64_t fl_machine_available_bytes(const char *root)
{
    fl_buf text = {0};
    uint64_t left = number_of(text_of(&text, root, "/proc/meminfo"), "MemAvailable:");
    if (left <= UINT64_MAX / 1024) left *= 1024;
    /* lines are "0::GROUP" and "NUMBER:CONTROLLERS:GROUP" */
    const char *line = text_of(&text, root, "/proc/self/cgroup");
    for (; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;
        if (!group) break;
        bool unified = group == names + 1;
        if (!unified && strncmp(names, ":memory", 7) != 0) continue;
        left = less_of(left, left_in_groups(root, unified ? &version_2 : &version_1, group + 1));
    }
    fl_buf_fini(&text);
    return left;
}

uint64_t fl_process_private_bytes(void)
{
    fl_buf text = {0}; /* the counters of /proc/self/status lag behind by some hundred pages */
    uint64_t kilobytes = number_of(text_of(&text, "", "/proc/self/smaps_rollup"), "Anonymous:");
    if (kilobytes == UINT64_MAX)
        kilobytes = number_of(text_of(&text, "", "/proc/self/status"), "RssAnon:");
    fl_buf_fini(&text);
    return kilobytes == UINT64_MAX ? 0 : kilobytes * 1024;
}
