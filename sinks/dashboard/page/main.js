const r = await (await fetch("/api/v1/sources")).json();
for (const s of r) { const i = new Image(); i.src = `/api/v1/sources/${s.id}/view.mjpg?size=small`; document.getElementById("w").append(i); }
