/* The program fedllm_data: one table of commands. */
#ifndef DATA_TOOLS_DATA_PROGRAM_H
#define DATA_TOOLS_DATA_PROGRAM_H

int fl_program_data(int argc, char **argv); /* returns the exit code */

#endif
