package sshuttle

import "sync"

// blockSize is what a queue grows by, in bytes.
const blockSize = 16 << 10

var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

// queue holds what waits to be read, in blocks that are used again: what grows in one piece is copied each time it does, and
// left to be collected.
type queue struct {
	blocks []*[blockSize]byte
	head   int // of the first block, these bytes are read
	size   int // bytes that wait
}

func (q *queue) push(b []byte) {
	for len(b) > 0 {
		end := q.head + q.size
		if end == len(q.blocks)*blockSize {
			q.blocks = append(q.blocks, blocks.Get().(*[blockSize]byte))
		}
		n := copy(q.blocks[end/blockSize][end%blockSize:], b)
		q.size += n
		b = b[n:]
	}
}

func (q *queue) read(b []byte) (n int) {
	for n < len(b) && q.size > 0 {
		part := copy(b[n:], q.blocks[0][q.head:min(q.head+q.size, blockSize)])
		n += part
		q.head += part
		q.size -= part
		if q.head == blockSize || q.size == 0 {
			blocks.Put(q.blocks[0])
			q.blocks = q.blocks[:copy(q.blocks, q.blocks[1:])]
			q.head = 0
		}
	}
	return n
}

// clear forgets what waits, and returns how much that was.
func (q *queue) clear() int {
	for _, b := range q.blocks {
		blocks.Put(b)
	}
	left := q.size
	*q = queue{}
	return left
}
