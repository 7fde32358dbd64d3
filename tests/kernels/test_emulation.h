/* Shared by the tests of the emulated device. */
#ifndef FL_TESTS_KERNELS_TEST_EMULATION_H
#define FL_TESTS_KERNELS_TEST_EMULATION_H

#include "kernels/emu/emu.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" {
#include <cmocka.h>
}

using namespace fl_emu;

/* How a process ends that does this.  A handler of a sanitizer may turn the signal into an exit. */
static inline bool survives(void (*act)())
{
    fflush(nullptr);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        act();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

#endif
