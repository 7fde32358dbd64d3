/* fedllm_mpi: see app/program.h. */
#include "app/program.h"

int main(int argc, char **argv)
{
    return fl_program_train(argc, argv);
}
