#include "betrace/kms/service.h"

int main(int argc, char** argv) { return betrace::kms::run_program(argc, argv); }
