/* fedllm_generate: see app/generate_program.h. */
#include "app/generate_program.h"

int main(int argc, char **argv)
{
    return fl_program_generate(argc, argv);
}
