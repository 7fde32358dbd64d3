#include "kernels/cuda/plans.h"

#include "kernels/cuda/cuda.h"

extern "C" {
#include "base/log.h"
}

namespace FL_DEVICE
{

enum { LINE_NUMBERS = KEY_NUMBERS + ALGORITHM_NUMBERS, MOST_DIGITS = 15 };

static const char format_line[] = "fedllm gemm plans 1";
static const char column_line[] =
    "m n k lda ldb ldc ldd trans_a trans_b bits bits_d reads_c in_place bias alignment id tile "
    "splits reduction swizzle custom stages inner_shape cluster_shape";

struct PlanLine {
    PlanKey key;
    Algorithm algorithm;
};

static PlanLine lines[MOST_PLAN_LINES]; // ascending by key
static int num_lines;
static bool tunes, has_warned;

/* ---- keys ----------------------------------------------------------------------------------- */

static int64_t alignment_of(const fl_blas_gemm &g)
{
    uintptr_t bits = (uintptr_t)g.a | (uintptr_t)g.b | (uintptr_t)g.d | (uintptr_t)g.bias | 16;
    if (g.beta != 0.0f) bits |= (uintptr_t)g.c;
    return (int64_t)(bits & ~(bits - 1));
}

PlanKey key_of(const fl_blas_gemm &g)
{
    bool reads_c = g.beta != 0.0f;
    PlanKey key = {};
    key.number[KEY_M] = g.m;
    key.number[KEY_N] = g.n;
    key.number[KEY_K] = g.k;
    key.number[KEY_LDA] = g.lda;
    key.number[KEY_LDB] = g.ldb;
    key.number[KEY_LDC] = reads_c ? g.ldc : g.ldd;
    key.number[KEY_LDD] = g.ldd;
    key.number[KEY_TRANS_A] = g.trans_a;
    key.number[KEY_TRANS_B] = g.trans_b;
    key.number[KEY_BITS] = g.dtype == FL_BF16 ? 16 : 32;
    key.number[KEY_BITS_D] = g.type_d == FL_BF16 ? 16 : 32;
    key.number[KEY_READS_C] = reads_c;
    key.number[KEY_IN_PLACE] = reads_c && g.c == g.d;
    key.number[KEY_BIAS] = g.bias != nullptr;
    key.number[KEY_ALIGNMENT] = alignment_of(g);
    return key;
}

static int compare(const PlanKey &a, const PlanKey &b)
{
    for (int i = 0; i < KEY_NUMBERS; i++)
        if (a.number[i] != b.number[i]) return a.number[i] < b.number[i] ? -1 : 1;
    return 0;
}

bool is_same(const PlanKey &a, const PlanKey &b)
{
    return compare(a, b) == 0;
}

/* The first line that is not below the key. */
static int place_of(const PlanKey &key)
{
    int begin = 0, end = num_lines;
    while (begin < end) {
        int middle = begin + (end - begin) / 2;
        if (compare(lines[middle].key, key) < 0)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

const Algorithm *find_plan(const PlanKey &key)
{
    int at = place_of(key);
    return at < num_lines && is_same(lines[at].key, key) ? &lines[at].algorithm : nullptr;
}

void keep_plan(const PlanKey &key, const Algorithm &algorithm)
{
    int at = place_of(key);
    if (num_lines == MOST_PLAN_LINES || find_plan(key)) return;
    memmove(lines + at + 1, lines + at, (size_t)(num_lines - at) * sizeof *lines);
    lines[at] = {key, algorithm};
    num_lines++;
}

void refuse_plan()
{
    if (!has_warned)
        FL_WARN("gemm_plans: an algorithm is not taken by %s; its product has the library's own",
                library_name());
    has_warned = true;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* What is left of the text, and the number of the line. */
struct Text {
    const char *path, *at, *end;
    int line;
};

static bool take_line(Text *text, const char *expected)
{
    size_t length = strlen(expected), left = (size_t)(text->end - text->at);
    if (left <= length || memcmp(text->at, expected, length) != 0 || text->at[length] != '\n')
        return false;
    text->at += length + 1;
    text->line++;
    return true;
}

/* Decimal digits, then `after`. */
static bool take_number(Text *text, char after, int64_t *out)
{
    const char *begin = text->at;
    for (*out = 0; text->at < text->end && *text->at >= '0' && *text->at <= '9'; text->at++) {
        if (text->at - begin == MOST_DIGITS) return false;
        *out = *out * 10 + (*text->at - '0');
    }
    if (text->at == begin || text->at == text->end || *text->at != after) return false;
    text->at++;
    return true;
}

static fl_status take_plan(Text *text)
{
    PlanLine line;
    for (int i = 0; i < LINE_NUMBERS; i++) {
        int64_t *number =
            i < KEY_NUMBERS ? &line.key.number[i] : &line.algorithm.number[i - KEY_NUMBERS];
        FL_CHECK(take_number(text, i + 1 < LINE_NUMBERS ? ' ' : '\n', number), FL_ERR_INPUT,
                 "%s:%d: not a line of %d numbers", text->path, text->line, (int)LINE_NUMBERS);
    }
    FL_CHECK(num_lines < MOST_PLAN_LINES, FL_ERR_INPUT, "%s:%d: more than %d products", text->path,
             text->line, (int)MOST_PLAN_LINES);
    FL_CHECK(!find_plan(line.key), FL_ERR_INPUT, "%s:%d: a product for the second time", text->path,
             text->line);
    keep_plan(line.key, line.algorithm);
    text->line++;
    return FL_OK;
}

fl_status read_plans(const char *path, const fl_buf *buf)
{
    const char *library = library_name(), *data = fl_buf_text(buf);
    Text text = {path, data, data + buf->length, 1};
    if (!library) return op_status();
    num_lines = 0;
    FL_CHECK(take_line(&text, format_line), FL_ERR_INPUT, "%s:1: not \"%s\"", path, format_line);
    FL_CHECK(take_line(&text, library), FL_ERR_INPUT,
             "%s:2: made for another device or library than %s; make it again with --tune", path,
             library);
    FL_CHECK(take_line(&text, column_line), FL_ERR_INPUT, "%s:3: other columns", path);
    while (text.at < text.end)
        FL_TRY(take_plan(&text));
    return FL_OK;
}

/* ---- writing -------------------------------------------------------------------------------- */

static fl_status write_numbers(fl_buf *out, const int64_t *number, int count, char last)
{
    for (int i = 0; i < count; i++)
        FL_TRY(fl_buf_addf(out, "%lld%c", (long long)number[i], i + 1 < count ? ' ' : last));
    return FL_OK;
}

fl_status write_plans(fl_buf *out)
{
    const char *library = library_name();
    if (!library) return op_status();
    FL_TRY(fl_buf_addf(out, "%s\n%s\n%s\n", format_line, library, column_line));
    for (int i = 0; i < num_lines; i++) {
        FL_TRY(write_numbers(out, lines[i].key.number, KEY_NUMBERS, ' '));
        FL_TRY(write_numbers(out, lines[i].algorithm.number, ALGORITHM_NUMBERS, '\n'));
    }
    return FL_OK;
}

/* ---- timing --------------------------------------------------------------------------------- */

enum { WARM_UPS = 2, REPEATS = 3, RUNS = 4 /* between two events */ };

void start_tuning()
{
    tunes = true;
}

bool is_tuning()
{
    return tunes && !is_capturing();
}

static float time_runs(cudaEvent_t begin, cudaEvent_t end,
                       void (*run)(void *context, int candidate), void *context, int candidate)
{
    float least = 0.0f, took = 0.0f;
    for (int i = 0; i < WARM_UPS; i++)
        run(context, candidate);
    for (int repeat = 0; repeat < REPEATS && can_launch(); repeat++) {
        check(cudaEventRecord(begin, stream()), "an event");
        for (int i = 0; i < RUNS; i++)
            run(context, candidate);
        check(cudaEventRecord(end, stream()), "an event");
        check(cudaEventSynchronize(end), "an event");
        check(cudaEventElapsedTime(&took, begin, end), "an event");
        if (repeat == 0 || took < least) least = took;
    }
    return least;
}

int find_fastest(int count, void (*run)(void *context, int candidate), void *context)
{
    static cudaEvent_t begin, end; // for good
    float least = 0.0f;
    int fastest = 0;
    if (!begin && !(check(cudaEventCreateWithFlags(&begin, 0), "an event") &&
                    check(cudaEventCreateWithFlags(&end, 0), "an event")))
        return 0;
    for (int i = 0; i < count; i++) {
        float took = time_runs(begin, end, run, context, i);
        if (i > 0 && took > least) continue;
        least = took;
        fastest = i;
    }
    return fastest;
}

} // namespace FL_DEVICE
