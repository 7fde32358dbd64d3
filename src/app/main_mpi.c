/* fedllm_mpi: see app/train_program.h. */
#include "app/train_program.h"

int main(int argc, char **argv)
{
    return fl_program_train(argc, argv);
}
