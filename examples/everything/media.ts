/** A PNG of one red pixel, in base64. */
export const RED_PIXEL_PNG =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC'

/**
 * A WAV file of silence: one channel, 8 bits, 8000 samples a second.
 *
 * @param durationMs length of the sound in milliseconds
 */
export function silentWav(durationMs: number): Uint8Array {
  const sampleRate = 8000
  const samples = Math.round((sampleRate * durationMs) / 1000)
  const file = Buffer.alloc(44 + samples, 0x80) // 0x80 is the zero level of unsigned 8-bit samples
  file.write('RIFF', 0)
  file.writeUInt32LE(36 + samples, 4)
  file.write('WAVEfmt ', 8)
  file.writeUInt32LE(16, 16) // bytes of the format chunk
  file.writeUInt16LE(1, 20) // PCM
  file.writeUInt16LE(1, 22) // channels
  file.writeUInt32LE(sampleRate, 24)
  file.writeUInt32LE(sampleRate, 28) // bytes a second
  file.writeUInt16LE(1, 32) // bytes a frame
  file.writeUInt16LE(8, 34) // bits a sample
  file.write('data', 36)
  file.writeUInt32LE(samples, 40)
  return file
}
