// A driver with a patch of mutants/ in it, in the place of the one that was linked.
#pragma once

#include <string>
#include <string_view>

namespace at::model {

// Copies driver/, applies the patch (a name in mutants/driver/, or a path), compiles it as the
// build did and loads it; its constructors register it over the driver that is there. Throws
// std::runtime_error when the patch does not apply or the result does not compile.
void load_mutant(std::string_view name_or_path);

} // namespace at::model
