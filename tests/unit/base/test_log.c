/* The log: who speaks on which stream, what the file receives, and the progress bar on a terminal
 * (a pseudo terminal here).  Streams are swapped below stdio, as a shell would do. */
#define _XOPEN_SOURCE 700 // posix_openpt

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "support.h"

#include <fcntl.h>
#include <math.h>

typedef struct capture {
    int saved[3]; /* [1] stdout, [2] stderr */
} capture;

static void redirect(capture *c, int stream, int fd)
{
    fflush(stdout);
    c->saved[stream] = dup(stream);
    assert_true(c->saved[stream] >= 0 && fd >= 0);
    assert_true(dup2(fd, stream) == stream);
    close(fd);
}

static void restore(capture *c, int stream)
{
    fflush(stdout);
    dup2(c->saved[stream], stream);
    close(c->saved[stream]);
}

static int make_file(test_folder *folder, const char *name)
{
    return open(folder_file(folder, name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
}

static void expect_content(test_folder *folder, const char *name, const char *text)
{
    fl_buf content = {0};
    EXPECT_OK(fl_file_read(&content, folder_file(folder, name), 0));
    assert_string_equal(fl_buf_text(&content), text);
    fl_buf_fini(&content);
}

/* Everything a rank can say, into "out" and "err". */
static void speak(test_folder *folder, int rank, fl_log_level level)
{
    capture c;
    redirect(&c, STDOUT_FILENO, make_file(folder, "out"));
    redirect(&c, STDERR_FILENO, make_file(folder, "err"));
    fl_log_init(rank, level);
    FL_INFO("round %d", 1);
    FL_WARN("client %d is late", 7);
    FL_DEBUG("detail");
    fl_log(FL_LOG_ERROR, "bad \033[2J name");
    fl_log_progress(0.5, "no terminal");
    restore(&c, STDERR_FILENO);
    restore(&c, STDOUT_FILENO);
}

static void test_streams(void **state)
{
    test_folder *folder = *state;
    speak(folder, 0, FL_LOG_INFO);
    expect_content(folder, "out", "round 1\n");
    expect_content(folder, "err",
                   "rank 0: warning: client 7 is late\nrank 0: error: bad ?[2J name\n");
    speak(folder, 3, FL_LOG_DEBUG);
    expect_content(folder, "out", "");
    expect_content(folder, "err",
                   "rank 3: warning: client 7 is late\nrank 3: detail\n"
                   "rank 3: error: bad ?[2J name\n");
    speak(folder, 0, FL_LOG_ERROR);
    expect_content(folder, "out", "");
    expect_content(folder, "err", "rank 0: error: bad ?[2J name\n");
}

static void test_file(void **state)
{
    test_folder *folder = *state;
    fl_log_init(0, FL_LOG_INFO);
    EXPECT_OK(fl_log_open_file(folder_file(folder, "train.log")));
    speak(folder, 0, FL_LOG_INFO);
    fl_log_close();
    static const char once[] =
        "round 1\nrank 0: warning: client 7 is late\nrank 0: error: bad ?[2J name\n";
    expect_content(folder, "train.log", once);
    speak(folder, 0, FL_LOG_INFO); /* closed: nothing more */
    expect_content(folder, "train.log", once);
    EXPECT_OK(fl_log_open_file(folder_file(folder, "train.log"))); /* a run that continues */
    speak(folder, 0, FL_LOG_ERROR);
    fl_log_close();
    fl_log_close();
    char twice[sizeof once + 64];
    snprintf(twice, sizeof twice, "%srank 0: error: bad ?[2J name\n", once);
    expect_content(folder, "train.log", twice);

    fl_log_init(1, FL_LOG_INFO); /* other ranks have no file */
    EXPECT_OK(fl_log_open_file(folder_file(folder, "other.log")));
    assert_false(fl_path_exists(folder_file(folder, "other.log")));
    fl_log_init(0, FL_LOG_INFO);
    EXPECT_FAIL(fl_log_open_file(folder_file(folder, "none/x")), FL_ERR_IO, "No such file");
}

static void test_full_disk(void **state)
{
    test_folder *folder = *state;
    if (access("/dev/full", W_OK) != 0) skip();
    fl_log_init(0, FL_LOG_INFO);
    EXPECT_OK(fl_log_open_file("/dev/full"));
    capture c;
    redirect(&c, STDOUT_FILENO, make_file(folder, "out"));
    redirect(&c, STDERR_FILENO, make_file(folder, "err"));
    FL_INFO("one");
    FL_INFO("two");
    restore(&c, STDERR_FILENO);
    restore(&c, STDOUT_FILENO);
    fl_log_close();
    expect_content(folder, "out", "one\ntwo\n");
    expect_content(folder, "err",
                   "rank 0: warning: cannot write the log file: No space left on device\n");
}

static void test_long_line(void **state)
{
    test_folder *folder = *state;
    fl_log_init(0, FL_LOG_INFO);
    static char text[10000];
    memset(text, 'x', sizeof text - 1);
    capture c;
    redirect(&c, STDOUT_FILENO, make_file(folder, "out"));
    FL_INFO("%s", text);
    restore(&c, STDOUT_FILENO);
    fl_buf content = {0};
    EXPECT_OK(fl_file_read(&content, folder_file(folder, "out"), 0));
    assert_in_range(content.length, 4000, 4096);
    assert_string_equal(content.data + content.length - 5, "x...\n");
    fl_buf_fini(&content);
}

/* What a terminal sees of some bars and a line; returns the seconds that drawing took. */
static double draw_bars(int terminal, char *seen, size_t size)
{
    fl_log_init(0, FL_LOG_INFO);
    capture c;
    redirect(&c, STDOUT_FILENO, open(ptsname(terminal), O_RDWR | O_NOCTTY));
    unsetenv("FEDLLM_PROGRESS"); /* a terminal of no size, as mpirun's ranks have: no bar */
    fl_log_progress(0.1, "nobody watches");
    setenv("FEDLLM_PROGRESS", "1", 1);
    double start = fl_clock_seconds();
    fl_log_progress(0.5, "round 1\033");
    fl_log_progress(0.6, "too soon after the last one");
    double seconds = fl_clock_seconds() - start;
    fl_log_progress(7, "done");
    FL_INFO("line");
    fl_log_progress(NAN, "again");
    restore(&c, STDOUT_FILENO);
    size_t length = 0; /* a terminal hands out what has arrived so far; an error is its end */
    for (ssize_t got = 1; got > 0 && length + 1 < size; length += got > 0 ? (size_t)got : 0)
        got = read(terminal, seen + length, size - 1 - length);
    seen[length] = 0;
    return seconds;
}

static void test_progress_bar(void **state)
{
    (void)state;
    char seen[1024];
    double seconds = 1;
    for (int i = 0; i < 50 && seconds > 0.05; i++) { /* on a busy machine soon may be late */
        int terminal = posix_openpt(O_RDWR | O_NOCTTY);
        if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0) skip();
        seconds = draw_bars(terminal, seen, sizeof seen);
        close(terminal);
    }
    assert_string_equal(seen, "\r[############............]  50% round 1?\033[K"
                              "\r[########################] 100% done\033[K"
                              "\r\033[Kline\r\n"
                              "\r[........................]   0% again\033[K");
}

static void test_duration(void **state)
{
    (void)state;
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {
        {0, "0 s"},
        {-5, "0 s"},
        {12.4, "12 s"},
        {59.6, "1 m 00 s"},
        {200, "3 m 20 s"},
        {3599.4, "59 m 59 s"},
        {3599.6, "1 h 00 m"},
        {3725, "1 h 02 m"},
        {360000, "100 h 00 m"},
        {INFINITY, "unknown"},
        {NAN, "unknown"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[32];
        fl_log_duration(text, sizeof text, cases[i].seconds);
        assert_string_equal(text, cases[i].text);
    }
    char small[4];
    fl_log_duration(small, sizeof small, 3725);
    assert_string_equal(small, "1 h");
}

#define FOLDER_TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_streams),           FOLDER_TEST(test_file),
        FOLDER_TEST(test_full_disk),         FOLDER_TEST(test_long_line),
        cmocka_unit_test(test_progress_bar), cmocka_unit_test(test_duration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
