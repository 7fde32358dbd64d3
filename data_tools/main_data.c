/* fedllm_data: see data_tools/data_program.h. */
#include "data_tools/data_program.h"

int main(int argc, char **argv)
{
    return fl_program_data(argc, argv);
}
