/* Status codes and the one error text of a thread.
 *
 * A function that can fail returns fl_status.  The function in which the error arises stores the
 * text (FL_FAIL, FL_CHECK); everyone above passes it on unchanged (FL_TRY, FL_TRY_GOTO).  Only app/
 * prints it.  The text is one line, lower case, and names the thing that is wrong.
 */
#ifndef FL_BASE_STATUS_H
#define FL_BASE_STATUS_H

#include <stdbool.h>
#include <stddef.h>

/* code, word, exit code of a program that ends with it */
#define FL_STATUS_LIST(X)                                                                       \
    X(FL_OK, "ok", 0)                                                                           \
    X(FL_ERR_USAGE, "usage", 2)             /* command line or config */                        \
    X(FL_ERR_INPUT, "input", 2)             /* a file's content is not what it must be */       \
    X(FL_ERR_IO, "io", 2)                   /* a file cannot be opened, read or written */      \
    X(FL_ERR_UNSUPPORTED, "unsupported", 2) /* valid input that this program does not handle */ \
    X(FL_ERR_MEMORY, "memory", 1)                                                               \
    X(FL_ERR_COMM, "comm", 1)                                                                   \
    X(FL_ERR_NUMERIC, "numeric", 1) /* NaN or infinity where none may be */                     \
    X(FL_ERR_INTERNAL, "internal", 1)                                                           \
    X(FL_ERR_LIMIT, "limit", 3) /* stopped by a declared limit, resumable */

typedef enum fl_status {
#define X(code, word, exit_code) code,
    FL_STATUS_LIST(X)
#undef X
} fl_status;

const char *fl_status_word(fl_status status);
int fl_status_exit_code(fl_status status);

/* Text of this thread's last failure; "" when there was none.  Valid until the next failure. */
const char *fl_error_text(void);

/* Replaces the text (printf form).  Returns `status`, so that `return fl_fail(...)` reads well. */
fl_status fl_fail(fl_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "context: " in front of the present text, where the caller knows something new: a path, a
 * client, a key.  Returns `status`. */
fl_status fl_fail_context(fl_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* fl_fail, but the compiler sees that the value is not FL_OK, and so does not warn in callers that
 * outputs "may be used uninitialized".  `status` is evaluated twice. */
#define FL_FAIL_VALUE(status, ...) ((void)fl_fail((status), __VA_ARGS__), (status))

#define FL_FAIL(status, ...) return FL_FAIL_VALUE(status, __VA_ARGS__)

#define FL_CHECK(condition, status, ...)                             \
    do {                                                             \
        if (!(condition)) return FL_FAIL_VALUE(status, __VA_ARGS__); \
    } while (0)

#define FL_TRY(call)                                        \
    do {                                                    \
        fl_status fl_try_status_ = (call);                  \
        if (fl_try_status_ != FL_OK) return fl_try_status_; \
    } while (0)

/* Needs a variable `fl_status status` and a label in the function. */
#define FL_TRY_GOTO(call, label)         \
    do {                                 \
        status = (call);                 \
        if (status != FL_OK) goto label; \
    } while (0)

#define FL_CHECK_GOTO(condition, label, code, ...)     \
    do {                                               \
        if (!(condition)) {                            \
            status = FL_FAIL_VALUE(code, __VA_ARGS__); \
            goto label;                                \
        }                                              \
    } while (0)

/* A bug in this program, not an error of its user: prints and aborts, in every build. */
#define FL_ASSERT(condition)                                                \
    do {                                                                    \
        if (!(condition)) fl_assert_failed(#condition, __FILE__, __LINE__); \
    } while (0)
__attribute__((noreturn)) void fl_assert_failed(const char *condition, const char *file, int line);

#endif
