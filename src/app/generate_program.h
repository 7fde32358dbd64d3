/* The program that answers prompts. */
#ifndef FL_APP_GENERATE_PROGRAM_H
#define FL_APP_GENERATE_PROGRAM_H

/* fedllm_generate MODEL [--key value ...].  Returns the exit code. */
int fl_program_generate(int argc, char **argv);

#endif
