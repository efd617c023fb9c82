// Names of functions by address, from the symbol tables of what is loaded: static functions too,
// and the same on any machine, which a line table behind addr2line is not.
#pragma once

#include <string>

namespace at::model::c {

std::string function_name(const void* pc);

} // namespace at::model::c
