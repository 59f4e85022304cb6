/* cli/commands: one function per verb. argv[0] is the verb; the return value is the exit status. */
#ifndef HONE_CLI_COMMANDS_H
#define HONE_CLI_COMMANDS_H

int hone_cmd_train(int argc, const char **argv);
int hone_cmd_generate(int argc, const char **argv);
int hone_cmd_eval(int argc, const char **argv);
int hone_cmd_data(int argc, const char **argv);
int hone_cmd_tokenize(int argc, const char **argv);
int hone_cmd_models(int argc, const char **argv);
int hone_cmd_kernel_worker(int argc, const char **argv);
int hone_cmd_tune(int argc, const char **argv);
int hone_cmd_info(int argc, const char **argv);

#endif
