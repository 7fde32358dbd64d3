/* Which tokens end an answer. */
#include "model/generation_config.h"

#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char folder[64];

static int enter(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "eos-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int leave(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void put(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(fl_file_write_atomic(path, text, strlen(text)), FL_OK);
}

static void expect_ids(int count, int32_t first, int32_t second)
{
    fl_eos_ids eos;
    assert_int_equal(fl_eos_ids_load(&eos, folder), FL_OK);
    assert_int_equal(eos.count, count);
    if (count > 0) assert_int_equal(eos.ids[0], first);
    if (count > 1) assert_int_equal(eos.ids[1], second);
}

static void looks_where_transformers_looks(void **state)
{
    (void)state;
    expect_ids(0, 0, 0); /* no files at all */
    put("config.json", "{\"eos_token_id\": 2}");
    expect_ids(1, 2, 0);
    put("generation_config.json", "{\"bos_token_id\": 1}"); /* does not say it */
    expect_ids(1, 2, 0);
    put("generation_config.json", "{\"eos_token_id\": [7, 9, 7]}");
    expect_ids(2, 7, 9);
    put("config.json", "{\"eos_token_id\": null}");
    put("generation_config.json", "{\"eos_token_id\": null}");
    expect_ids(0, 0, 0);
}

static void refuses_nonsense(void **state)
{
    (void)state;
    static const char *const texts[] = {"{\"eos_token_id\": \"</s>\"}", "{\"eos_token_id\": -1}",
                                        "{\"eos_token_id\": [1, 2.5]}",
                                        "{\"eos_token_id\": 4294967296}", "{"};
    fl_eos_ids eos;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        put("generation_config.json", texts[i]);
        assert_int_equal(fl_eos_ids_load(&eos, folder), FL_ERR_INPUT);
        assert_non_null(strstr(fl_error_text(), "generation_config.json"));
    }
    put("generation_config.json",
        "{\"eos_token_id\": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}");
    assert_int_equal(fl_eos_ids_load(&eos, folder), FL_ERR_INPUT);
}

static void adds_each_once(void **state)
{
    (void)state;
    fl_eos_ids eos = {0};
    fl_eos_ids_add(&eos, 5);
    fl_eos_ids_add(&eos, -1); /* a tokenizer without such a token */
    fl_eos_ids_add(&eos, 5);
    assert_int_equal(eos.count, 1);
    assert_true(fl_eos_ids_has(&eos, 5) && !fl_eos_ids_has(&eos, -1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(looks_where_transformers_looks, enter, leave),
        cmocka_unit_test_setup_teardown(refuses_nonsense, enter, leave),
        cmocka_unit_test(adds_each_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
