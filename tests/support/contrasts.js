// [contrast, text] of every text of the page that can be seen, with the ground that lies behind it.
(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const over = (colour, ground) => {
    canvas.fillStyle = ground; canvas.fillRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = canvas.getImageData(0, 0, 1, 1).data; return `rgb(${r}, ${g}, ${b})`; };
  const light = text => { const [r, g, b] = text.match(/\d+/g).map(n => n / 255).map(n => n <= .04045 ? n / 12.92 : ((n + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const ground = of => of ? over(getComputedStyle(of).backgroundColor, ground(of.parentElement)) : 'rgb(255, 255, 255)';
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const of = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !of.checkVisibility() || of.closest('.unseen')) continue;
    const behind = ground(of), a = light(over(getComputedStyle(of).color, behind)), b = light(behind);
    found.push([(Math.max(a, b) + .05) / (Math.min(a, b) + .05), walker.currentNode.textContent]);
  }
  return found;
})()
