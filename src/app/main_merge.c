/* fedllm_merge: see app/merge_program.h. */
#include "app/merge_program.h"

int main(int argc, char **argv)
{
    return fl_program_merge(argc, argv);
}
