#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include <cstdlib>

#include "lib/findings.h"

// AT_WITHOUT_ORACLE: the oracle that is taken away, to see which test misses it.
int main(int argc, char** argv) {
    if (const char* oracle = std::getenv("AT_WITHOUT_ORACLE"))
        at::ablated_oracle() = oracle;
    return Catch::Session().run(argc, argv);
}
