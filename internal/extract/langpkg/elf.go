package langpkg

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/tidewaiter/tidewaiter/internal/extract"
)

// The sections of a program. Linkers write some 30 of them, with names of some
// 300 bytes in all. Package debug/elf would hold as many and as long ones as a
// file claims to have, and inflate compressed names without end.
const (
	maxSections     = 1024
	maxSectionNames = 16 << 10
	minProgram      = 1 << 10
)

// wantsProgram tells whether a file may be a program: its name does not say.
func wantsProgram(mode fs.FileMode, size int64) bool {
	return mode.IsRegular() && mode.Perm()&0o111 != 0 && size >= minProgram
}

// isELF tells whether a file begins as programs for Linux do.
func isELF(head []byte) bool { return len(head) >= 4 && string(head[:4]) == elf.ELFMAG }

// openELF returns the sections of a program, or nil if the file is none.
func openELF(f extract.Input) (*elf.File, error) {
	head := make([]byte, 64)
	if n, err := f.ReadAt(head, 0); n < len(head) {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, fmt.Errorf("read it: %w", err)
	}
	if !isELF(head) {
		return nil, nil
	}
	ok, err := fewSections(f, head)
	if err != nil || !ok {
		return nil, err
	}
	program, err := elf.NewFile(io.NewSectionReader(f, 0, f.Size))
	if err != nil {
		return nil, nil // nothing that a kernel would run
	}
	return program, nil
}

// fewSections reads as much of the header as says how many sections there are
// and how long their names. It tells whether there are any.
func fewSections(f extract.Input, head []byte) (bool, error) {
	var order binary.ByteOrder = binary.LittleEndian
	if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	var offset int64
	var count, names, width int
	wide := elf.Class(head[elf.EI_CLASS]) == elf.ELFCLASS64
	if wide {
		offset, width = int64(order.Uint64(head[40:])), 64
		count, names = int(order.Uint16(head[60:])), int(order.Uint16(head[62:]))
	} else {
		offset, width = int64(order.Uint32(head[32:])), 40
		count, names = int(order.Uint16(head[48:])), int(order.Uint16(head[50:]))
	}
	if offset == 0 {
		return false, nil // stripped of its sections
	}
	if count == 0 || count > maxSections {
		return false, fmt.Errorf("a program of more than %d sections", maxSections)
	}
	section := make([]byte, width)
	if n, _ := f.ReadAt(section, offset+int64(names*width)); n < width {
		return false, nil // cut off
	}
	var flags, size uint64
	if wide {
		flags, size = order.Uint64(section[8:]), order.Uint64(section[32:])
	} else {
		flags, size = uint64(order.Uint32(section[8:])), uint64(order.Uint32(section[20:]))
	}
	if elf.SectionFlag(flags)&elf.SHF_COMPRESSED != 0 || size > maxSectionNames {
		return false, fmt.Errorf("a program whose sections have names of more than %d bytes", maxSectionNames)
	}
	return true, nil
}
