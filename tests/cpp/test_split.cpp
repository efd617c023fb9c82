// fault/at_split.h against the processor: what it says of an instruction is what that does.
#include <array>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <sys/mman.h>

#include "at_split.h"

namespace {

using Bytes = std::vector<std::uint8_t>;

at_split decoded(Bytes code) {
    code.resize(AT_SPLIT_LONGEST, 0x90);
    at_split split{};
    const bool known = at_split_decode(code.data(), &split);
    CHECK(known == (split.change != AT_SPLIT_NONE));
    return split;
}

#ifdef __x86_64__
// An instruction on 32 bytes of memory, with its memory at 16(%rdi) and its source in %rsi.
class Run {
public:
    explicit Run(const Bytes& instruction)
        : page_(mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                     -1, 0)) {
        REQUIRE(page_ != MAP_FAILED);
        Bytes code = {0x52, 0x9d}; // push %rdx; popfq
        code.insert(code.end(), instruction.begin(), instruction.end());
        code.insert(code.end(), {0x9c, 0x58, 0xc3}); // pushfq; pop %rax; ret
        std::memcpy(page_, code.data(), code.size());
    }
    ~Run() { munmap(page_, 4096); }
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;

    unsigned long operator()(void* memory, std::uint64_t source, unsigned long flags) const {
        using Function = unsigned long (*)(void*, std::uint64_t, unsigned long);
        Function function;
        std::memcpy(&function, &page_, sizeof function);
        return function(memory, source, flags);
    }

private:
    void* const page_;
};

// Every form that is taken apart, with 16(%rdi) for its memory and %rsi for its source.
std::vector<Bytes> forms(std::uint8_t immediate) {
    std::vector<Bytes> all;
    const std::vector<Bytes> prefixes = {{}, {0x66}, {0x48}};
    for (const Bytes& prefix : prefixes) {
        const auto form = [&](Bytes opcode, std::uint8_t number, std::size_t immediates) {
            Bytes bytes = prefix;
            bytes.insert(bytes.end(), opcode.begin(), opcode.end());
            bytes.push_back(static_cast<std::uint8_t>(0x40 | number << 3 | 7));
            bytes.push_back(16);
            for (std::size_t i = 0; i < immediates; ++i)
                bytes.push_back(static_cast<std::uint8_t>(immediate ^ i));
            all.push_back(bytes);
        };
        const std::size_t wide = prefix == Bytes{0x66} ? 2 : 4;
        for (const std::uint8_t number : {0, 1, 4, 5, 6}) {
            form({static_cast<std::uint8_t>(number << 3 | 1)}, 6, 0);
            form({0x81}, number, wide);
            form({0x83}, number, 1);
        }
        form({0xff}, 0, 0);
        form({0xff}, 1, 0);
        form({0x0f, 0xba}, 5, 1);
        form({0x0f, 0xba}, 6, 1);
        form({0x0f, 0xab}, 6, 0);
        form({0x0f, 0xb3}, 6, 0);
    }
    // of one byte; %sil needs a prefix
    for (const std::uint8_t number : {0, 1, 4, 5, 6}) {
        all.push_back({0x40, static_cast<std::uint8_t>(number << 3), 0x77, 16});
        all.push_back({0x80, static_cast<std::uint8_t>(0x47 | number << 3), 16, immediate});
    }
    all.push_back({0xfe, 0x47, 16});
    all.push_back({0xfe, 0x4f, 16});
    return all;
}

TEST_CASE("an instruction taken apart leaves the memory and the flags that the processor leaves") {
    std::mt19937_64 random(20261129);
    for (int round = 0; round < 400; ++round) {
        const std::uint64_t kinds[] = {0,    1,          ~0ULL,    1ULL << 63,
                                       0x80, 0x7fffffff, random(), random()};
        for (const Bytes& bytes : forms(static_cast<std::uint8_t>(random()))) {
            const at_split split = decoded(bytes);
            REQUIRE(split.change != AT_SPLIT_NONE);
            REQUIRE(split.length == bytes.size());
            std::array<std::uint64_t, 5> theirs{};
            for (std::uint64_t& word : theirs)
                word = kinds[random() % std::size(kinds)];
            std::array<std::uint64_t, 5> ours = theirs;
            std::uint64_t source = kinds[random() % std::size(kinds)];
            if (split.change >= AT_SPLIT_BTS) // a bit of the memory at hand
                source = random() % 256 - 128;
            const unsigned long before = 0x202 | (random() & AT_SPLIT_FLAGS);
            const unsigned long after = Run(bytes)(theirs.data(), source, before);

            std::array<__u64, 16> registers{};
            registers[6] = source;
            registers[7] = reinterpret_cast<std::uint64_t>(ours.data());
            auto* at = reinterpret_cast<void*>(at_split_address(&split, registers.data(), 0));
            std::uint64_t old = 0;
            std::memcpy(&old, at, split.width);
            unsigned long flags = before;
            const std::uint64_t now = at_split_change(
                &split, old, at_split_operand_value(&split, registers.data()), &flags);
            std::memcpy(at, &now, split.width);

            INFO("opcode " << int(bytes[0]) << ' ' << int(bytes[1]) << ", width "
                           << int(split.width) << ", source " << source);
            REQUIRE(ours == theirs);
            // the manual leaves all but the carry of bts and btr open
            const unsigned long told = split.change >= AT_SPLIT_BTS ? AT_SPLIT_CF : AT_SPLIT_FLAGS;
            REQUIRE((flags & told) == (after & told));
        }
    }
}
#endif

struct Operand {
    std::string what;
    Bytes code;
    std::uint64_t address;
};

TEST_CASE("the memory of an instruction is where its operand says") {
    std::array<__u64, 16> registers{};
    for (std::size_t i = 0; i < registers.size(); ++i)
        registers[i] = 0x1000 * (i + 1);
    const std::vector<Operand> operands = {
        {"addl $1,0xc(%rbp)", {0x83, 0x45, 0x0c, 0x01}, 0x600c},
        {"addl $1,0x1c8(%r12)", {0x41, 0x83, 0x84, 0x24, 0xc8, 0x01, 0, 0, 0x01}, 0xd1c8},
        {"orl $1,-0x6d0(%r12)",
         {0x41, 0x83, 0x8c, 0x24, 0x30, 0xf9, 0xff, 0xff, 1},
         0xd000 - 0x6d0},
        {"add %eax,(%r14,%rcx,4)", {0x41, 0x01, 0x04, 0x8e}, 0xf000 + 4 * 0x2000},
        {"incl 0x10(%rip)", {0xff, 0x05, 0x10, 0, 0, 0}, 0x500010},
        {"incl 0x1000", {0xff, 0x04, 0x25, 0, 0x10, 0, 0}, 0x1000},
        {"add %rsi,0x8(%rdi)", {0x48, 0x01, 0x77, 0x08}, 0x8008},
        {"subl $1,(%rbx)", {0x83, 0x2b, 0x01}, 0x4000},
    };
    for (const Operand& operand : operands) {
        INFO(operand.what);
        const at_split split = decoded(operand.code);
        CHECK(split.change != AT_SPLIT_NONE);
        CHECK(split.length == operand.code.size());
        CHECK(at_split_address(&split, registers.data(), 0x500000) == operand.address);
    }
}

TEST_CASE("what is atomic, does not write, or is one CPU's own is not taken apart") {
    const std::vector<std::pair<std::string, Bytes>> others = {
        {"lock addl $1,(%rbx)", {0xf0, 0x83, 0x03, 0x01}},
        {"incl %gs:(%rax)", {0x65, 0xff, 0x00}},
        {"cmpl $1,(%rbx)", {0x83, 0x3b, 0x01}},
        {"addl $1,0x14(%rsp,%rax,4)", {0x83, 0x44, 0x84, 0x14, 0x01}},
        {"add %eax,%ebx", {0x01, 0xc3}},
        {"add (%rbx),%eax", {0x03, 0x03}},
        {"adcl $1,(%rbx)", {0x83, 0x13, 0x01}},
        {"mov %eax,(%rbx)", {0x89, 0x03}},
        {"call *(%rbx)", {0xff, 0x13}},
        {"push (%rbx)", {0xff, 0x33}},
        {"bt %eax,(%rbx)", {0x0f, 0xa3, 0x03}},
        {"btc $1,(%rbx)", {0x0f, 0xba, 0x3b, 0x01}},
        {"add %ah,(%rbx)", {0x00, 0x23}},
        {"nop", {0x0f, 0x1f, 0x44, 0, 0}},
        {"xchg %eax,(%rbx)", {0x87, 0x03}},
    };
    for (const auto& [what, code] : others) {
        INFO(what);
        CHECK(decoded(code).change == AT_SPLIT_NONE);
    }
}

} // namespace
