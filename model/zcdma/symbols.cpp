#include "zcdma/symbols.hpp"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <vector>

namespace at::model::c {

namespace {

// Functions of one loaded file, by their address in it.
class SymbolTable {
public:
    explicit SymbolTable(const char* path) {
        std::ifstream file(path, std::ios::binary);
        image_.assign(std::istreambuf_iterator<char>(file), {});
        if (image_.size() < sizeof(Elf64_Ehdr) || std::memcmp(image_.data(), ELFMAG, SELFMAG) != 0)
            return;
        const auto& header = at<Elf64_Ehdr>(0);
        for (unsigned i = 0; i < header.e_shnum; ++i) {
            const auto& section = at<Elf64_Shdr>(header.e_shoff + i * sizeof(Elf64_Shdr));
            if (section.sh_type != SHT_SYMTAB)
                continue;
            const auto& names =
                at<Elf64_Shdr>(header.e_shoff + section.sh_link * sizeof(Elf64_Shdr));
            for (std::size_t s = 0; s + sizeof(Elf64_Sym) <= section.sh_size;
                 s += sizeof(Elf64_Sym)) {
                const auto& symbol = at<Elf64_Sym>(section.sh_offset + s);
                if (ELF64_ST_TYPE(symbol.st_info) == STT_FUNC && symbol.st_size)
                    functions_[symbol.st_value] = {symbol.st_size, image_.data() + names.sh_offset +
                                                                       symbol.st_name};
            }
        }
    }
    std::string name(std::uint64_t address) const {
        auto found = functions_.upper_bound(address);
        if (found == functions_.begin())
            return "?";
        --found;
        // "zc_put.part.0" is zc_put.
        const std::string_view whole = found->second.name;
        return address < found->first + found->second.bytes
                   ? std::string(whole.substr(0, whole.find('.')))
                   : "?";
    }

private:
    struct Function {
        std::uint64_t bytes;
        const char* name;
    };
    template <class T> const T& at(std::uint64_t offset) const {
        return *reinterpret_cast<const T*>(image_.data() + offset);
    }
    std::vector<char> image_;
    std::map<std::uint64_t, Function> functions_;
};

} // namespace

std::string function_name(const void* pc) {
    static std::map<std::string, SymbolTable> tables;
    Dl_info info{};
    link_map* map = nullptr;
    // A return address is one behind its call.
    const void* const call = static_cast<const char*>(pc) - 1;
    if (!dladdr1(call, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) || !map)
        return "?";
    const char* const path = map->l_name && *map->l_name ? map->l_name : "/proc/self/exe";
    const auto table = tables.try_emplace(path, path).first;
    return table->second.name(reinterpret_cast<std::uintptr_t>(call) - map->l_addr);
}

} // namespace at::model::c
