#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include <cstdlib>
#include <cstring>

#include "lib/findings.h"

// AT_WITHOUT_ORACLE: the oracle that is taken away, to see which test misses it.
int main(int argc, char** argv) {
    // A life that ends by execve(2), and a child that does, find the agent's verb here too.
    if (argc == 2 && std::strcmp(argv[1], "leave") == 0)
        return 0;
    if (const char* oracle = std::getenv("AT_WITHOUT_ORACLE"))
        at::ablated_oracle() = oracle;
    return Catch::Session().run(argc, argv);
}
