/* The losses of DPO: values, slopes, no overflow. */
#include "train/dpo_loss.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *const names[] = {"dpo", "cdpo", "ipo"};
static const double distances[] = {-40, -3, -0.1, 0, 0.7, 5, 60};

static fl_train_config config_of(double epsilon)
{
    return (fl_train_config){.dpo_beta = 0.3, .dpo_label_smoothing = epsilon};
}

static double value_of(const char *name, const fl_train_config *config, double h)
{
    double slope;
    return fl_dpo_loss_find(name)->value(config, h, &slope);
}

static void known_values(void **state)
{
    (void)state;
    fl_train_config config = config_of(0.2);
    assert_true(fabs(value_of("dpo", &config, 0) - log(2)) < 1e-15);
    assert_true(fabs(value_of("cdpo", &config, 0) - log(2)) < 1e-15);
    assert_true(fabs(value_of("ipo", &config, 0) - pow(1 / 0.6, 2)) < 1e-12);
    assert_true(value_of("ipo", &config, 1 / 0.6) < 1e-20);
    double z = 0.3 * 5;
    double plain = -log(1 / (1 + exp(-z))), turned = -log(1 / (1 + exp(z)));
    assert_true(fabs(value_of("dpo", &config, 5) - plain) < 1e-14);
    assert_true(fabs(value_of("cdpo", &config, 5) - (0.8 * plain + 0.2 * turned)) < 1e-14);
    /* without wrong labels cdpo is dpo */
    config = config_of(0);
    for (size_t i = 0; i < sizeof distances / sizeof distances[0]; i++)
        assert_true(value_of("dpo", &config, distances[i]) ==
                    value_of("cdpo", &config, distances[i]));
}

static void slopes_are_differences(void **state)
{
    (void)state;
    const fl_train_config config = config_of(0.2);
    const double step = 1e-5;
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
        for (size_t i = 0; i < sizeof distances / sizeof distances[0]; i++) {
            double h = distances[i], slope;
            fl_dpo_loss_find(names[k])->value(&config, h, &slope);
            double difference =
                (value_of(names[k], &config, h + step) - value_of(names[k], &config, h - step)) /
                (2 * step);
            assert_true(fabs(slope - difference) < 1e-7 * fmax(1, fabs(slope)));
        }
}

static void far_away_is_finite(void **state)
{
    (void)state;
    const fl_train_config config = config_of(0.2);
    double slope;
    assert_true(fabs(value_of("dpo", &config, -1e6) - 0.3e6) < 1e-6);
    assert_true(value_of("dpo", &config, 1e6) == 0);
    assert_true(fabs(fl_dpo_loss_find("dpo")->value(&config, -1e300, &slope) - 0.3e300) < 1e285);
    assert_true(fabs(slope + 0.3) < 1e-15);
    fl_dpo_loss_find("dpo")->value(&config, 1e300, &slope);
    assert_true(slope == 0);
    assert_null(fl_dpo_loss_find("hinge"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values),
        cmocka_unit_test(slopes_are_differences),
        cmocka_unit_test(far_away_is_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
