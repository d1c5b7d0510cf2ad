/** Images that go with a question, as data: URLs. */
import type { FileUIPart } from "ai";

/** Pixels of the longer side. Models see no more, and each question of a chat sends its images again. */
const MAX_SIDE = 1568;
const MAX_BYTES = 1_000_000;

/** An image as a part of a message; a large photo is made smaller first. Throws where the browser cannot read the image. */
export async function imagePart(file: File): Promise<FileUIPart> {
  const picture = await createImageBitmap(file);
  const scale = MAX_SIDE / Math.max(picture.width, picture.height);
  const blob = scale >= 1 && file.size <= MAX_BYTES ? file : await smaller(picture, Math.min(scale, 1));
  picture.close();
  return { type: "file", mediaType: blob.type, filename: file.name, url: await dataUrl(blob) };
}

function smaller(picture: ImageBitmap, scale: number): Promise<Blob> {
  const canvas = new OffscreenCanvas(Math.ceil(picture.width * scale), Math.ceil(picture.height * scale));
  canvas.getContext("2d")?.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 });
}

function dataUrl(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error ?? new Error("unreadable"));
    reader.readAsDataURL(blob);
  });
}
