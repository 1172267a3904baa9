package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Magic numbers and types of code signatures, which are big-endian. Source: cs_blobs.h of Apple's open source kernel.
const (
	superBlob     = 0xfade0cc0
	codeDirectory = 0xfade0c02
	directorySlot = 0
	hashSHA256    = 2
	directorySize = 44   // of the part that every version has
	maximumSlots  = 1024 // of a super blob, far above what exists
)

// signature checks that the program is signed if its processor insists, and that the signature fits each page of it: the
// kernel kills a program at the first page that differs.
func (s *slice) signature() []string {
	commands := s.commands(loadCodeSignature)
	if len(commands) == 0 {
		if s.arch == "arm64" {
			return []string{"it is not signed: macOS runs nothing unsigned on arm64"}
		}
		return nil
	}
	offset := uint64(binary.LittleEndian.Uint32(commands[0][8:]))
	size := uint64(binary.LittleEndian.Uint32(commands[0][12:]))
	if len(commands) > 1 || offset+size > uint64(len(s.data)) {
		return []string{"its signature lies outside of it"}
	}
	directory, err := findDirectory(s.data[offset : offset+size])
	if err == nil {
		err = checkPages(s.data, directory, offset)
	}
	if err != nil {
		return []string{"its signature: " + err.Error()}
	}
	return nil
}

// findDirectory returns the code directory in a signature.
func findDirectory(blob []byte) ([]byte, error) {
	big := binary.BigEndian
	if len(blob) < 12 || big.Uint32(blob) != superBlob {
		return nil, fmt.Errorf("it begins with no super blob")
	}
	count := big.Uint32(blob[8:])
	if count > maximumSlots || 12+8*int(count) > len(blob) {
		return nil, fmt.Errorf("its index is longer than itself")
	}
	for i := range int(count) {
		entry := blob[12+8*i:]
		at := uint64(big.Uint32(entry[4:]))
		if big.Uint32(entry) != directorySlot {
			continue
		}
		if at+directorySize > uint64(len(blob)) || big.Uint32(blob[at:]) != codeDirectory {
			return nil, fmt.Errorf("its code directory is none")
		}
		length := uint64(big.Uint32(blob[at+4:]))
		if length < directorySize || at+length > uint64(len(blob)) {
			return nil, fmt.Errorf("its code directory is longer than itself")
		}
		return blob[at : at+length], nil
	}
	return nil, fmt.Errorf("it has no code directory")
}

// checkPages compares every page of data before the signature with its hash.
func checkPages(data, directory []byte, signed uint64) error {
	big := binary.BigEndian
	hashes, slots := uint64(big.Uint32(directory[16:])), uint64(big.Uint32(directory[28:]))
	limit := uint64(big.Uint32(directory[32:]))
	hashSize, hashType, pageBits := uint64(directory[36]), directory[37], directory[39]
	if hashType != hashSHA256 || hashSize != sha256.Size || pageBits < 12 || pageBits > 16 {
		return fmt.Errorf("hashes of type %d and %d bytes, of pages of 2^%d bytes", hashType, hashSize, pageBits)
	}
	page := uint64(1) << pageBits
	if limit != signed || slots != (limit+page-1)/page || hashes+slots*hashSize > uint64(len(directory)) {
		return fmt.Errorf("%d pages up to %d are signed, of the %d bytes before it", slots, limit, signed)
	}
	for i := range slots {
		sum := sha256.Sum256(data[i*page : min((i+1)*page, limit)])
		if !bytes.Equal(sum[:], directory[hashes+i*hashSize:hashes+(i+1)*hashSize]) {
			return fmt.Errorf("page %d of %d was changed after it was signed", i, slots)
		}
	}
	return nil
}
